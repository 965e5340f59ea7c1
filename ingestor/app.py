"""The composition root: the one module that names concrete adapters together."""
