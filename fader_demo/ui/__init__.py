"""The page: gradio only. Every panel is one file, `page` puts them together. No torch in here."""
