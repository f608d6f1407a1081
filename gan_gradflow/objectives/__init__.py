"""What the two players minimise: loss pairs, and penalties on the discriminator."""
