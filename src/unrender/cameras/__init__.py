"""Where each view stood, through which lens it looked and how its sensor recorded light."""
