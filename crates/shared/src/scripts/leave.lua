-- A replica ends: it is no member any more, and leads no more.
-- KEYS: the live replicas, their states, the leader, the last settlement of each. ARGV: this replica.
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
if redis.call('GET', KEYS[3]) == ARGV[1] then redis.call('DEL', KEYS[3]) end
redis.call('HDEL', KEYS[4], ARGV[1])
return 0
