"""What models cost and give outside of the program that trained them."""
