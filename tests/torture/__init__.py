"""What stands between a user and a power cut, tried at length: `make torture`."""
