"""Text in, ids out, and back: line reading and tokenizers."""
