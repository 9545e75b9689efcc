"""Search strategies: greedy, beam, diverse beam, sampling."""
