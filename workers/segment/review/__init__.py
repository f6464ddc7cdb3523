"""A person's say on proposed masks: the page on which it is made (`page`), what follows from it (`apply`)."""
