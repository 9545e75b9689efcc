"""Labels: of a text (`classify`), or of each of its words (`tag`)."""
