"""Does data resume exactly, and if not, why?"""
