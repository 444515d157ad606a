"""Layers: attention, feed-forward, positions, embeddings, the key/value cache, the fused loss."""
