"""What is measured of captions, images, pairs, cycles and use, and by whom."""
