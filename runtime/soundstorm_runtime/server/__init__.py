"""`soundstorm serve`: a voice behind HTTP, with the OpenAI API and a web page. Needs the extra `serve`."""
