-- What a request is for, as its client says: `name=value` pairs in the order of their names, with commas. NULL without any.
ALTER TABLE requests ADD COLUMN tags TEXT;
ALTER TABLE attempts ADD COLUMN tags TEXT;
