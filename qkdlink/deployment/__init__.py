"""What sets the processes of a link up, starts them and diagnoses them."""
