"""Does a whole training resume exactly, and if not, what was not saved?"""
