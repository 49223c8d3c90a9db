"""Keys and values between passes: where they are stored, written and read."""
