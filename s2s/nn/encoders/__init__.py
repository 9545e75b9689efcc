"""Encoders: recurrent over tokens, linear over regions of images."""
