"""Networks: recurrent stacks, encoders, attention, decoders, the assembled model."""
