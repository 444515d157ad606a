"""What `python -m seqtrain.verify` looks at: resumed runs, checkpoints, data."""
