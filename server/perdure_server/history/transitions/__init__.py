"""What each request does to a run: one module for each noun, all reached through the table in `decide`."""
