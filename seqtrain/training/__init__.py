"""The training loop and all that makes it exact and safe to stop."""
