-- What calls cost moves from what a replica holds of a budget to what is spent, and the replica holds more or less of the rest.
-- KEYS: the epoch; then the budgets.
-- ARGV: this replica, microseconds for which what is held is valid without another report, how many replicas are to run, the epoch
--       that the replica knows; for each budget: the number of the report, what was spent since the last one, what the replica keeps, what it would like beyond that,
--       what it needs of it, the limit, what was spent by all as far as the ledger knows (-1: not known), when the budget may be
--       forgotten in milliseconds since 1970.
-- Returns for each budget: what the replica holds, what is spent (-1: not known), what the others hold, 1 if more is granted.
local time = redis.call('TIME')
local now = (time[1] - 1760000000) * 1000000 + time[2]
local replica, valid, replicas = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local epoch = tonumber(redis.call('GET', KEYS[1]) or now)
-- What a replica knows of an epoch that is over may lack what others have spent since.
local is_current = redis.call('GET', KEYS[1]) == ARGV[4]
local reply = {}
for i = 2, #KEYS do
  local key, at = KEYS[i], 5 + (i - 2) * 8
  local number, used, keeps = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local more, needs, limit = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local known = tonumber(ARGV[at + 6])
  local fields, spent, last, others, dead, known_replicas = redis.call('HGETALL', key), nil, 0, 0, 0, 1
  local seen = {}
  for j = 1, #fields, 2 do
    local of = string.match(fields[j], '^t:(.*)$')
    if of then seen[of] = tonumber(fields[j + 1]) end
  end
  for j = 1, #fields, 2 do
    local name, value = fields[j], tonumber(fields[j + 1])
    local kind, of = string.match(name, '^(%a):(.*)$')
    if name == 'spent' then
      spent = value
    elseif of == replica then
      if kind == 'n' then last = value end
    elseif kind == 'h' then
      -- Some seconds more, for reports that are under way.
      if now - seen[of] < valid + 5000000 then
        others, known_replicas = others + value, known_replicas + 1
      else
        -- Nobody knows how much of it the dead one has spent: all of it, until the ledger has been asked again.
        dead = dead + value
        redis.call('HDEL', key, name, 'n:' .. of, 't:' .. of)
      end
    end
  end
  if not spent and known >= 0 and is_current then spent = known end
  -- While nobody knows what is spent, the report counts for nothing: what it says was spent is still held.
  local uncounted = not spent and number > last and used or 0
  if spent then
    spent = spent + dead
    if number > last then
      spent = spent + used
      redis.call('HSET', key, 'n:' .. replica, number)
    end
    redis.call('HSET', key, 'spent', spent)
  end
  local held = keeps
  -- After a loss of data a replica that has not reported yet may hold something, as long as that is valid.
  local grants = spent and is_current and (known_replicas >= replicas or now - epoch >= valid)
  if grants then
    local left = math.max(limit - spent - others - keeps, 0)
    held = keeps + math.min(more, math.max(needs, math.floor(left / 2)), left)
  end
  redis.call('HSET', key, 'h:' .. replica, held + uncounted, 't:' .. replica, now)
  redis.call('PEXPIREAT', key, ARGV[at + 7])
  reply[#reply + 1] = held
  reply[#reply + 1] = spent or -1
  reply[#reply + 1] = others
  reply[#reply + 1] = grants and 1 or 0
end
return reply
