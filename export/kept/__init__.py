"""Finished exports kept between runs, so that an equal one takes no second conversion."""
