"""What every report is drawn with: the style of pages, charts, pictures."""
