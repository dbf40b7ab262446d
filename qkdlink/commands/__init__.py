"""The commands of `qkdlink`, one file each."""
