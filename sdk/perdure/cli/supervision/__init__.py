"""Processes that belong to one supervisor: started, relayed, restarted and ended by it, and never left behind."""
