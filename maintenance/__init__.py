"""What keeps the project true and is not installed: long runs, and generated passages of the documents."""
