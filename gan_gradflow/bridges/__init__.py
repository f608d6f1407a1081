"""How the gradient gets from the critic to what the generator emits: a bridge, a file."""
