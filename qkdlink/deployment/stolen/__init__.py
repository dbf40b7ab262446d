"""What a thief takes from a home, and what Eve's programs do with it: for demonstrations and experiments."""
