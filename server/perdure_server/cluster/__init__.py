"""Who owns which shards, and who is alive."""
