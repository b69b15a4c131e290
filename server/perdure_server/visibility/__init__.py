"""What lists and counts of executions are asked with: the list filter, in Temporal's grammar with a little more."""
