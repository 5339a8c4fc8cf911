"""Images from files, folders and arrays, and people drawn on them; no network is needed here."""
