"""Text to batches: vocabularies, tokenizers, indexed token files, batching plans, collation, loading."""
