"""What may stand between generator and discriminator."""
