"""A recipe's net in PyTorch: differentiable, to train what was rounded and to ask where noise comes from."""
