"""A model over many texts on a device: layout, precision, memory, features."""
