package runwright

import runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"

// ResultText is the answer of a run; false while there is none, or when it is no text or too large to be inline.
func ResultText(run *Run) (string, bool) {
	text, ok := run.GetResult().GetBody().(*runwrightv1.InlineContent_Text)
	if !ok {
		return "", false
	}
	return text.Text, true
}

// ToolText is what the model is told by a tool: the result of TOOL_COMPLETED, the words of TOOL_FAILED. False for another
// frame, one that was not asked for with [WithContents], and for what is no text or above 64 KiB.
func ToolText(frame *Frame) (string, bool) {
	event := frame.GetEvent()
	told := event.GetToolCompleted().GetResult()
	if told == nil {
		told = event.GetToolFailed().GetMessage()
	}
	if told == nil {
		return "", false
	}
	for _, content := range frame.GetContents() {
		if text, ok := content.GetBody().(*runwrightv1.InlineContent_Text); ok && content.GetRef().GetDigest() == told.GetDigest() {
			return text.Text, true
		}
	}
	return "", false
}

// DeltaText is the piece of a model's text that an event of kind MODEL_STREAM_DELTA holds; false for any other. Where it
// belongs says GetModelStreamDelta().GetOffset(): at 0 the text begins anew.
func DeltaText(event *Event) (string, bool) {
	delta := event.GetModelStreamDelta()
	return delta.GetText(), delta != nil
}
