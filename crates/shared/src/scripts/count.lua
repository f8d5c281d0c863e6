-- Counts calls and reserves tokens against the limits of several owners: against all of them, or against none if one has no room.
-- KEYS: the live replicas; for each owner: what it has used, and its calls under way by replica.
-- ARGV: this replica, microseconds after which a silent replica is dead; for each owner: calls, how many of
--       them are under way from now on, tokens, calls a minute and their burst, tokens a minute and their burst, calls at a time.
--       A limit of 0 is none.
-- Returns: 0, or 1, 2, 3 if calls, tokens, or calls at a time are used up; the number of the owner that has no room; then for each
--       owner: microseconds until its whole burst of calls is there, whole tokens left, microseconds until one is there, calls under way.
local time = redis.call('TIME')
local now = (time[1] - 1760000000) * 1000000 + time[2]
local replica, dead_after = ARGV[1], tonumber(ARGV[2])
local owners = (#KEYS - 1) / 2
local verdict, refusing = 0, 0
local states = {}

local function under_way(key)
  local sum, counts = 0, redis.call('HGETALL', key)
  for i = 1, #counts, 2 do
    local seen = redis.call('ZSCORE', KEYS[1], counts[i])
    if counts[i] == replica or (seen and now - seen < dead_after) then
      sum = sum + counts[i + 1]
    else
      redis.call('HDEL', key, counts[i])
    end
  end
  return sum
end

for i = 1, owners do
  local at = 3 + (i - 1) * 8
  local s = {
    calls = tonumber(ARGV[at]), begins = tonumber(ARGV[at + 1]), tokens = tonumber(ARGV[at + 2]),
    rate = tonumber(ARGV[at + 3]), burst = tonumber(ARGV[at + 4]),
    token_rate = tonumber(ARGV[at + 5]), token_burst = tonumber(ARGV[at + 6]),
    most = tonumber(ARGV[at + 7]), missing = 0, content = 0, wait = 0, current = 0,
  }
  local used = redis.call('HMGET', KEYS[2 * i], 'full_at', 'content', 'at')
  local reached = 0
  if s.rate > 0 then
    s.interval = 60000000 / s.rate
    s.missing = math.max((tonumber(used[1]) or 0) - now, 0)
    -- A thousandth of a microsecond is no use.
    if s.calls > 0 and s.missing + (s.calls - s.burst) * s.interval > 0.001 then reached = 1 end
  end
  if s.token_rate > 0 then
    local passed = math.max(now - (tonumber(used[3]) or now), 0)
    s.content = math.min((tonumber(used[2]) or s.token_burst) + passed * s.token_rate / 60000000, s.token_burst)
    s.wait = math.max(math.ceil((1 - s.content) * 60000000 / s.token_rate), 0)
    if s.content < 1 and reached == 0 then reached = 2 end
  end
  if s.most > 0 then
    s.current = under_way(KEYS[2 * i + 1])
    if s.begins > 0 and s.current + s.begins > s.most and reached == 0 then reached = 3 end
  end
  if reached > 0 and verdict == 0 then verdict, refusing = reached, i end
  states[i] = s
end

local reply = { verdict, refusing }
for i, s in ipairs(states) do
  if verdict == 0 then
    local key, longest = KEYS[2 * i], 60000
    if s.rate > 0 and s.calls > 0 then
      s.missing = s.missing + s.calls * s.interval
      redis.call('HSET', key, 'full_at', now + s.missing)
      longest = math.max(longest, math.ceil(s.missing / 1000) + 60000)
    end
    if s.token_rate > 0 then
      s.content = s.content - s.tokens
      redis.call('HSET', key, 'content', s.content, 'at', now)
      longest = math.max(longest, math.ceil((s.token_burst - s.content) * 60000 / s.token_rate) + 60000)
    end
    if s.rate > 0 or s.token_rate > 0 then redis.call('PEXPIRE', key, math.min(longest, 86400000)) end
    if s.most > 0 and s.begins > 0 then
      redis.call('HINCRBY', KEYS[2 * i + 1], replica, s.begins)
      redis.call('PEXPIRE', KEYS[2 * i + 1], 3600000)
    end
  end
  reply[#reply + 1] = math.floor(s.missing)
  reply[#reply + 1] = math.floor(s.content)
  reply[#reply + 1] = s.wait
  reply[#reply + 1] = s.current
end
return reply
