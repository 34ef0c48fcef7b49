-- Take a snapshot of topics: what was published after a position, the last event, the changes.
-- KEYS: last, epoch, replid, then events, tip and fragments of each topic
-- ARGV: clock offset (ms), a name for a new epoch, the server's replication id ("": not asked),
--       how many events of a topic at most, then for each topic the position's epoch and id
--       ("": no events are wanted)
-- Returns: epoch, id of the snapshot, then for each topic {events, tip, changes}
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
local last, epoch = redis.call("GET", KEYS[1]), redis.call("GET", KEYS[2])
-- Another replication id: the server was restarted or another one promoted, and what it knows may
-- be older than what was published.
local is_other = ARGV[3] ~= "" and redis.call("GET", KEYS[3]) ~= ARGV[3]
if not last or not epoch or is_other then
  last, epoch = last or "0-0", ARGV[2]
  redis.call("SET", KEYS[2], epoch)
end
if is_other then redis.call("SET", KEYS[3], ARGV[3]) end
local ms, n = last:match("(%d+)-(%d+)")
ms, n = tonumber(ms), tonumber(n)
if now > ms then ms, n = now, 0 else n = n + 1 end
local id = string.format("%.0f-%.0f", ms, n)
redis.call("SET", KEYS[1], id)
local answer = {epoch, id}
for i = 1, (#KEYS - 3) / 3 do
  local at, events = 1 + 3 * i, {}
  if ARGV[3 + 2 * i] == epoch and ARGV[4 + 2 * i] ~= "" then
    events = redis.call("XRANGE", KEYS[at], "(" .. ARGV[4 + 2 * i], "+", "COUNT", ARGV[4])
  end
  answer[2 + i] = {events, redis.call("GET", KEYS[at + 1]), redis.call("HGETALL", KEYS[at + 2])}
end
return answer
