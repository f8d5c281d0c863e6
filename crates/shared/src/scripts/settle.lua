-- Settles tokens of calls that are over, once however often it is sent, and says how many calls a replica has under way.
-- KEYS: the last settlement of each replica; for each owner: what it has used, and its calls under way by replica.
-- ARGV: this replica, the number of the settlement; for each owner: tokens used (negative: given back), tokens a minute and their
--       burst (0: no limit), calls under way of this replica.
local time = redis.call('TIME')
local now = (time[1] - 1760000000) * 1000000 + time[2]
local replica, number = ARGV[1], tonumber(ARGV[2])
local is_new = number > (tonumber(redis.call('HGET', KEYS[1], replica)) or 0)
-- First, so that a line that fails is not repeated for ever.
if is_new then redis.call('HSET', KEYS[1], replica, number) end
for i = 1, (#KEYS - 1) / 2 do
  local at = 3 + (i - 1) * 4
  local tokens, rate, burst = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local key, under_way = KEYS[2 * i], KEYS[2 * i + 1]
  if is_new and tokens ~= 0 and rate > 0 then
    local used = redis.call('HMGET', key, 'content', 'at')
    local passed = math.max(now - (tonumber(used[2]) or now), 0)
    local content = math.min((tonumber(used[1]) or burst) + passed * rate / 60000000, burst)
    content = math.min(content - tokens, burst)
    redis.call('HSET', key, 'content', content, 'at', now)
    local lasts = math.min(math.ceil((burst - content) * 60000 / rate) + 60000, 86400000)
    if lasts > redis.call('PTTL', key) then redis.call('PEXPIRE', key, lasts) end
  end
  if ARGV[at + 3] == '0' then
    redis.call('HDEL', under_way, replica)
  else
    redis.call('HSET', under_way, replica, ARGV[at + 3])
    redis.call('PEXPIRE', under_way, 3600000)
  end
end
return 0
