"""Generation: beam search, sampling, scoring, and text in and out."""
