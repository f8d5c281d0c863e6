-- A replica says that it is alive and what it knows, and learns the same of the others; one of them leads.
-- KEYS: the epoch, the live replicas, their states, the leader, the last settlement of each.
-- ARGV: this replica, its state, milliseconds that a leader leads without a word, microseconds after which a silent replica is dead.
-- Returns: when the epoch began, 1 if this replica leads, then replicas and their states in turn.
local time = redis.call('TIME')
local now = (time[1] - 1760000000) * 1000000 + time[2]
local replica = ARGV[1]
-- Whatever is gone with a restart or a flush, this is gone too: a new epoch says so.
redis.call('SET', KEYS[1], now, 'NX')
local epoch = tonumber(redis.call('GET', KEYS[1]))
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[4])) do
  redis.call('ZREM', KEYS[2], dead)
  redis.call('HDEL', KEYS[3], dead)
  redis.call('HDEL', KEYS[5], dead)
end
redis.call('ZADD', KEYS[2], now, replica)
redis.call('HSET', KEYS[3], replica, ARGV[2])
local leader = redis.call('GET', KEYS[4])
if not leader or leader == replica then
  redis.call('SET', KEYS[4], replica, 'PX', ARGV[3])
  leader = replica
end
return { epoch, leader == replica and 1 or 0, unpack(redis.call('HGETALL', KEYS[3])) }
