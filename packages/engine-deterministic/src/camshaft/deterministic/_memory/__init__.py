"""What the user's objects remember from pass to pass: found, saved, put back."""
