"""The one decoding loop and its strategies."""
