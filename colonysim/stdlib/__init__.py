"""How the standard library is replaced in place, for programs, and what it was before."""
