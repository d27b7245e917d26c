"""Text: from corpora and strings to batches of token ids."""
