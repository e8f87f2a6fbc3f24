// An event whose request fails is for Gradio the end of the page, which it reloads,
// pins and all. Here it is the end of that one event, which says so.

const LOST = "Connection lost. Try that again in a moment.";
const FAREWELL = [{ msg: "unexpected_error", message: LOST, success: false }, { msg: "close_stream" }]
  .map((message) => `data: ${JSON.stringify(message)}\n\n`)
  .join("");
const request = window.fetch;
let gone = false; // whether the server has ever let go of the photo
let heart = null; // what beats for as long as the page is open, so that the server knows

document.addEventListener("fader:gone", () => (gone = true));

window.fetch = (resource, options) => {
  const url = new URL(resource.url ?? resource, location);
  const answer = request(resource, options);
  if (/\/(queue\/join|run\/\w+)$/.test(url.pathname))
    return answer.catch(() => Response.json({ error: LOST }, { status: 500 }));
  if (!url.pathname.endsWith("/queue/data")) return answer;
  if (gone) keepAlive(url);
  return Promise.resolve(new Response(inGoodOrder(answer)));
};

// The stream of an answer, which ends with a farewell even when it breaks off.
function inGoodOrder(answer) {
  const encoder = new TextEncoder();
  const chunks = answer.then(({ ok, body }) => ok && body.pipeThrough(new TextDecoderStream()).getReader());
  return new ReadableStream({
    async pull(controller) {
      const { value } = await chunks.then((reader) => reader.read()).catch(() => ({}));
      // An unknown session is one that was lost: to Gradio, another reason to reload.
      const text = value?.replace('"session_not_found":true', '"session_not_found":false');
      controller.enqueue(encoder.encode(text ?? FAREWELL));
      if (text === undefined) controller.close();
    },
    cancel: () => chunks.then((reader) => reader.cancel()).catch(() => {}),
  });
}

// Gradio opens this once and never again: the server would not notice that the visitor has left.
function keepAlive(url) {
  const path = url.pathname.replace("queue/data", `heartbeat/${url.searchParams.get("session_hash")}`);
  heart ??= request(path)
    .then(({ body }) => body.pipeTo(new WritableStream()))
    .catch(() => {})
    .finally(() => (heart = null));
}
