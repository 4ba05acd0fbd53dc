-- Sends one request again and again or, if TOKENS names a file of bearer tokens,
-- one request with each of them in turn; then prints one line to be read by us.
local file = os.getenv("TOKENS")
if file then
	local requests, at = {}, 0
	function init(args)
		for token in io.lines(file) do
			requests[#requests + 1] = wrk.format("GET", nil, {Authorization = "Bearer " .. token})
		end
	end
	function request()
		at = at % #requests + 1
		return requests[at]
	end
end

function done(summary, latency, requests)
	local e = summary.errors
	io.write(string.format("result %d %d %d %d %d\n", summary.requests, summary.duration,
		latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
