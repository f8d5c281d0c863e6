-- The name that a request asked for, where that is not its model's own: an alias, a task, an ensemble, or an upstream and its model.
-- It is in no sum.
ALTER TABLE requests ADD COLUMN requested TEXT;
ALTER TABLE attempts ADD COLUMN requested TEXT;
