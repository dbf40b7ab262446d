"""Tables, pictures and worked examples in the documents, written from the code so that they cannot drift."""
